"""``swarm-sd doctor``: asks everything that a configuration names, and says what is wrong and what to do.

Nothing is changed anywhere: it asks by GET alone (etcd's v3 API reads by POST).
"""

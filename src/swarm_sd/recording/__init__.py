"""What a cluster answers, as a file that is made once and played back: for tests without the cluster."""

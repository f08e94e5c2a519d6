"""The page for people: plain HTML that works alone, and a script that keeps it up to date."""

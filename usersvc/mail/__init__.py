"""Mail: a kind and its data become a message (messages.py), a message goes out (transports.py)."""

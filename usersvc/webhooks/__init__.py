"""Webhooks: the events, their signature, where they may go, and the way there (standardwebhooks.com)."""

"""Notices to subscribers: which is due (pure), an outbox that forgets none, templates, and the way out by SMTP."""

"""The test mode, ``charging run --sandbox``: everything of a daemon but its Asterisk, which is played."""

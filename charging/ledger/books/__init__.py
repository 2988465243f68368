"""The books as a whole: verified, archived, exported, moved."""

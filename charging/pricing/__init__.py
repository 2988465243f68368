"""What a call costs, and how far money goes: exact integers, closed form. Pure."""

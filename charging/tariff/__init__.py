"""The tariff: read, checked, watched; and number → destination → rate, for every plan."""

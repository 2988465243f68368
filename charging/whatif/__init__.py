"""What would be: a quote explained, what an edit of the tariff changes, the past under other prices. Pure."""

"""What runs the calls: mailboxes, recovery, the lease of a switch. It talks; `charging.call` decides."""

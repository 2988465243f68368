"""The customers' page: balance, calls, statements, settings; and the balance widget."""

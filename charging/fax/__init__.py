"""Documents that are sent as faxes: PDF or TIFF in, the fax's own TIFF out, and mails that carry them."""

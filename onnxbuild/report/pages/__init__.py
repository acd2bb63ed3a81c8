"""Facts to pages: all arithmetic, wording, order and capping happens here; knows no HTML beyond the charts' markup."""

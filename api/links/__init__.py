"""Create, read, search, change and delete links; batches; QR codes."""

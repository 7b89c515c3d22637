"""What `bench/transfers` is made of: links and clicks by the million, in and out."""

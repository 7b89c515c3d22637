"""How the data tier carries reads: replicas, shards, pools, and lists over shards."""

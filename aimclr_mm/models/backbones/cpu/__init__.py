"""The same ST-GCN, computed faster on a CPU."""

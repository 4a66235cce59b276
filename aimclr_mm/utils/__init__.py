"""Files, restricted unpickling, config overlays and checks, compatibility shims."""

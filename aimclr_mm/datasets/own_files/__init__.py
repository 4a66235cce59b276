"""Recordings of one's own: files of poses in many formats, folders of them, and manifests."""

"""The content store: blobs by digest, each layer compressed once and kept once."""

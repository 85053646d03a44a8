"""WHERE things are kept: catalogue, vectors, lexical, blobs. Each implements a port of pipeline.ports."""

"""Networks. The imports below are the list of backbones and decoders."""

"""Files of other tools to lab text: what those say in vlab, and comments for what vlab has no word for."""

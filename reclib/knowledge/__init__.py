"""Facts about products: the graph of a shop, and entities and relations as vectors."""

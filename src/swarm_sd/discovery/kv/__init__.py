"""Classic Swarm's own node discovery: where its nodes register, listed and watched without any master."""

"""What the Docker and the Podman backend share, by composition over a small client protocol."""

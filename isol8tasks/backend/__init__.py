"""The plug-in seam: what a backend promises, and how backends are found."""

# /// script
# dependencies = ["nox>=2025.2.9", "isol8tasks"]
# ///
import isol8tasks.nox

isol8tasks.nox.sessions(globals())

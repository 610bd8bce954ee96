"""Studies and models of a folder, looked at in a browser on this machine: read, never written."""

"""An audit as people read it: terminal, HTML, Markdown, LaTeX."""

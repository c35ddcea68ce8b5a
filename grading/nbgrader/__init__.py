"""nbgrader: its plugin, its gradebook, and the handouts that it releases."""

"""From published weights to graphs that a runtime loads, and the check that they agree."""

"""From results.db to effects with intervals, the verdict, and figures."""

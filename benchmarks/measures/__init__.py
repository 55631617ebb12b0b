"""The measures, one module for each. A measure returns figures; times are seconds unless named otherwise."""

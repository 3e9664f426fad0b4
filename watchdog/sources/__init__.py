"""Where events come from, one module for each source; units are settled here."""

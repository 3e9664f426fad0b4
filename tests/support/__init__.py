"""What several tests build on: events made by hand, rules from text, slow but plain references."""

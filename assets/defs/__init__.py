"""What ``dg scaffold defs`` writes in this project: ``assets.definitions`` loads it beside the tables."""

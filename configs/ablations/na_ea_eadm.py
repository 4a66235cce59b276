"""Table 1, "w/ NA", "w/ EA" and "w/ EADM": everything but nearest neighbors mining."""

model = dict(topk=0)

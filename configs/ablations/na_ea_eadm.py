"""Table 1, "w/ NA", "w/ EA" and "w/ EADM": all but nearest neighbours mining."""

model = dict(topk=0)

"""Table 1, "w/ NA" and "w/ EA": the D3M loss of Eq. 7 without EADM and mining."""

model = dict(eadm=None, topk=0)

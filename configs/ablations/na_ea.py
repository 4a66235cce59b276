"""Table 1, "w/ NA" and "w/ EA": the D3M loss of Eq. 7, neither EADM nor mining."""

model = dict(eadm=None, topk=0)

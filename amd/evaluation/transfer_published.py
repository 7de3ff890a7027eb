"""Numbers of the paper's experiments (Li et al., CVPR 2018), on DAVIS 2016 with a network of Pascal VOC's instances."""

TRAIN, VAL = "DAVIS 2016 train, 30 sequences", "DAVIS 2016 val, 20 sequences"

PUBLISHED = {
    "crf": {"source": f"tables 1 and 7, {VAL}", "plain": {"J": 0.758}, "crf": {"J": 0.785, "F": 0.755}},
    "intervals": {
        "source": f"table 3, {TRAIN}",
        "1": {"J": 0.775},
        "5": {"J": 0.764},
        "10": {"J": 0.759},
        "20": {"J": 0.750},
        "40": {"J": 0.736},
        "never": {"J": 0.705},
    },
    "rankings": {
        "source": f"table 4, {TRAIN}",
        "motion": {"seed_accuracy": 0.906, "J": 0.743},
        "objectness": {"seed_accuracy": 0.882, "J": 0.757},
        "both": {"seed_accuracy": 0.946, "J": 0.775},
    },
    "features": {"source": f"section 4.4, {TRAIN}", "embedding": {"J": 0.775}, "semantic": {"J": 0.652}},
    "annotated": {"source": f"table 5, {VAL}", "crf": {"J": 0.776}},
    "drift": {"source": "figures 6 and 8: plots only"},
}

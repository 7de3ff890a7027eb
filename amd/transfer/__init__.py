"""Instance Embedding Transfer (Li et al., CVPR 2018): the second way from video to masks."""

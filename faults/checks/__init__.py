"""The invariants, one file for each subject. Every check is a function of the evidence alone and yields a sentence for
each thing that is wrong."""

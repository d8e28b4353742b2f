"""Items of the table: names, keys, values and codecs. Pure: imports none of the other rooms."""

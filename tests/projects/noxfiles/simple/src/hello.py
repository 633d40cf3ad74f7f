print("the folder of words")

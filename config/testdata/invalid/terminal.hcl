server { lisen = "[31mred" }
	worker { slots = "‮" }

package config

import "fmt"

// nearest returns the known name that a misspelt one most probably stands for, or "" if none is close.
func nearest(name string, known []string) string {
	best, at := "", len(name)/3+2
	for _, k := range known {
		if d := distance(name, k); d < at {
			best, at = k, d
		}
	}
	return best
}

// meant renders a suggestion to be appended to an error.
func meant(name string, known []string) string {
	if k := nearest(name, known); k != "" {
		return fmt.Sprintf(" (did you mean %s?)", k)
	}
	return ""
}

// distance is the number of insertions, deletions and replacements between two strings, in O(len(a)*len(b)); both are
// keys of a file of bounded size.
func distance(a, b string) int {
	const longest = 128
	if len(a) > longest || len(b) > longest {
		return longest
	}
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost++
			}
			diagonal = row[j+1]
			row[j+1] = min(cost, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}

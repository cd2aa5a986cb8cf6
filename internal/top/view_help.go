package top

// helpView lists every key from the table of bindings, and nothing else.
func (m *model) helpView(t theme, width, height int) []string {
	out := []string{t.section("KEYS", "", width)}
	list := func(on screen, title string) {
		if title != "" {
			out = append(out, "", t.section(title, "", width))
		}
		for _, b := range bindings {
			if b.on == on && b.show != "" {
				show := b.show
				if m.ascii {
					show = asciiKeys(show)
				}
				w := 26
				if width < twoColumns {
					w = 14
				}
				out = append(out, cut(" "+t.accent.Render(fit(show, w))+" "+b.text, width))
			}
		}
	}
	list(0, "")
	list(screenOverview, "OVERVIEW")
	list(screenMetadata, "METADATA")
	if len(out) > height {
		out = append(out[:max(0, height-1)], t.dim.Render(" more keys: make the window higher"))
	}
	return out
}

func asciiKeys(s string) string {
	out := ""
	for _, r := range s {
		switch r {
		case '↑':
			out += "up"
		case '↓':
			out += "down"
		default:
			out += string(r)
		}
	}
	return out
}

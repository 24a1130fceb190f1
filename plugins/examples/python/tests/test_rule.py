import json
import pathlib
import sys
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).parent.parent / "src"))

import rule


class Promises(unittest.TestCase):
    def test_one_models_answers_are_kept_with_a_field_blanked(self):
        own = rule.settings('{"model": "gpt-4o", "blank": "user"}')
        line = lambda question: rule.line(own, "ana", "https://api.example.com/", question, "hello")

        self.assertTrue(line('{"model":"gpt-4o"}').startswith('{"user":"[blanked]","url":"https:'))
        self.assertEqual(json.loads(line('{"model":"gpt-4o"}'))["answer"], "hello")
        self.assertIsNone(line('{"model":"gpt-4o-mini"}'))
        self.assertIsNone(line("no JSON"))

    def test_a_setting_that_is_not_known_is_named(self):
        with self.assertRaisesRegex(ValueError, "`modell`"):
            rule.settings('{"modell": "x"}')

    def test_a_value_that_is_no_text_is_named(self):
        with self.assertRaisesRegex(ValueError, "a text is expected for `model`"):
            rule.settings('{"model": 7}')


if __name__ == "__main__":
    unittest.main()

<div class="field"><label for="note">A note for the workshop, if you like</label><textarea id="note" name="note" rows="2" maxlength="200" data-test="note"><?= $e($buyer['note']) ?></textarea></div>
